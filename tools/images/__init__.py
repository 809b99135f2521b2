"""Builds the images of provisioners with docker/Dockerfile: `python -m images minio`, or `nox -s image -- minio`.

`builders` finds docker, podman or buildah and knows how their command lines differ; `__main__` gives them the version,
revision and date of the commit, and measures the result. What is in an image is decided in docker/.
"""
