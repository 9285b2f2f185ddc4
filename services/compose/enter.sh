# What the image starts: gives Numba the kernels that were compiled with the image, then becomes the command.
# Numba takes only a cache that it can write to, and the root file system is read-only. So each container has a copy of
# its own in its /tmp (12 MB, some milliseconds): a volume that several share would let whoever can write in one
# container run code in the others, since what is in such a cache is run.
set -eu
if [ ! -e "$NUMBA_CACHE_DIR" ]; then
    # Without a /tmp to write to, kernels are compiled anew: slow, but no reason not to start.
    cp -r /opt/kernels "$NUMBA_CACHE_DIR" || echo "enter.sh: kernels will be compiled when they are needed" >&2
fi
exec "$@"
