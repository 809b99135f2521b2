"""Releases one package of this repository: `nox -s release -- minio 0.2.0`.

`packages` reads, `preconditions` decides, `__main__` commits and tags; `compatibility` chooses which libbucket a
package is tested with. Wheels, images, SBOMs, signatures and publication are the work of `release.yml`.
"""
