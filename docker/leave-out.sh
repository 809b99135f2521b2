#!/bin/sh
# leave-out.sh ENVIRONMENT STORE: removes what a provisioner does not need, as the conformance suite inside the image
# verifies. `rm` fails on a path that does not exist, so that no line outlives its reason.
set -eu
environment=$1 store=$2
cd "$environment"/lib/python3*/site-packages

# The conformance suite, and the operators' command line.
rm -r libbucket/testing libbucket/_cli
# For installers and type checkers.
rm ./*.dist-info/RECORD ./*.dist-info/INSTALLER ./*.dist-info/direct_url.json
find . -name '*.pyi' -delete

case $store in
  aws-s3) # 27 MB: services that are neither used nor needed to find credentials; examples
    for service in botocore/data/*/; do
      case $(basename "$service") in
        iam | s3 | signin | sso | sso-oidc | sts) ;;
        *) rm -r "$service" ;;
      esac
    done
    rm botocore/data/*/*/examples-1.json*
    ;;
  azure) rm -r azure/identity/aio azure/storage/blob/aio ;; # clients for asyncio
  gcs) rm -r google/_async_resumable_media ;; # a client for asyncio
  minio) rm -r Crypto/SelfTest ;; # tests of a library
esac

# Programs of other packages, and scripts that activate the environment.
find "$environment/bin" -type f ! -name "$store-provisioner" -delete
