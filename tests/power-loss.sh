#!/usr/bin/env bash
# Pulls the plug on a store: a writer commits on an ext4 image, copies of the image are taken while it writes, and every copy
# must hold each commit that was acknowledged before the copy was begun. A copy is what a power cut leaves: what the kernel
# has not yet written to the device is not in it. The image lies on a file system of its own that is frozen for the copy, so
# that the copy is of one moment. With syncing switched off the same check has to fail: a proof that it can.
#
#   tests/power-loss.sh SPOUT-LIFE [IMAGES]       needs root, loop devices, mkfs.ext4 and fsfreeze
set -euo pipefail
life=$(realpath "$1")
images=${2:-10}

skip() { echo "SKIPPED: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "mounting images needs root"
for tool in mkfs.ext4 losetup mount umount fsfreeze; do command -v "$tool" >/dev/null || skip "there is no $tool"; done
losetup --find >/dev/null 2>&1 || skip "there is no free loop device"

dir=$(mktemp -d "${TMPDIR:-/tmp}/power-loss.XXXXXX")
workers=()
clean() {
    fsfreeze -u "$dir/outer" 2>/dev/null || true
    for worker in "${workers[@]}"; do kill -9 "$worker" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for mounted in copy inner outer; do
        ! mountpoint -q "$dir/$mounted" || umount "$dir/$mounted" || umount -l "$dir/$mounted"
    done
    rm -rf "$dir"
}
trap clean EXIT

mkdir "$dir/outer" "$dir/inner" "$dir/copy" "$dir/told"
truncate -s 400M "$dir/outer.img"
mkfs.ext4 -q -F "$dir/outer.img"
mount -o loop "$dir/outer.img" "$dir/outer" 2>/dev/null || skip "this machine mounts no loop device"

# Starts a worker whose words go to a file; its orders come from a pipe that nobody writes to and that stays open.
work() {
    local what=$1 told=$2
    shift 2
    env "$@" "$life" "$what" "$dir/inner/store" "$what" <"$dir/orders" >"$told" 2>"$told.errors" &
    workers+=($!)
}

acknowledged() { grep -c ^committed "$1" || true; }

# One run: 'synced' or 'unsynced'; prints how many copies held everything, and how many did not.
run() {
    local how=$1 sound=0 lost=0 environment=(SPOUT_LIFE=1)
    [ "$how" = synced ] || environment=(SPOUT_UNSAFE_NO_FSYNC=1)
    truncate -s 0 "$dir/outer/inner.img"
    truncate -s 256M "$dir/outer/inner.img"
    mkfs.ext4 -q -F "$dir/outer/inner.img"
    mount -o loop "$dir/outer/inner.img" "$dir/inner"
    rm -f "$dir/orders"
    mkfifo "$dir/orders"
    exec 7<>"$dir/orders"
    workers=()
    : >"$dir/told/write"
    work write "$dir/told/write" "${environment[@]}"
    until [ "$(acknowledged "$dir/told/write")" -gt 0 ]; do
        kill -0 "${workers[0]}" || { cat "$dir/told/write.errors"; exit 1; }
        sleep 0.02
    done
    work edit "$dir/told/edit" "${environment[@]}"
    for image in $(seq "$images"); do
        # Some more commits, so that every copy is of another moment.
        local enough=$(($(acknowledged "$dir/told/write") + 5 + RANDOM % 40))
        until [ "$(acknowledged "$dir/told/write")" -ge "$enough" ]; do
            kill -0 "${workers[0]}" || { cat "$dir/told/write.errors"; exit 1; }
            sleep 0.01
        done
        cp "$dir/told/write" "$dir/told/write.then"
        cp "$dir/told/edit" "$dir/told/edit.then"
        fsfreeze -f "$dir/outer"
        cp --reflink=auto --sparse=always "$dir/outer/inner.img" "$dir/copy.img"
        fsfreeze -u "$dir/outer"
        # Mounting replays the journal, as the next boot does.
        mount -o loop "$dir/copy.img" "$dir/copy"
        if "$life" verify "$dir/copy/store" atleast "$dir/told/write.then" "$dir/told/edit.then" >"$dir/verdict" 2>&1; then
            sound=$((sound + 1))
        else
            lost=$((lost + 1))
        fi
        echo "  $how, image $image: $(head -c 160 "$dir/verdict" | head -1)"
        umount "$dir/copy"
        rm -f "$dir/copy.img"
    done
    for worker in "${workers[@]}"; do kill -9 "$worker" 2>/dev/null || true; done
    wait "${workers[@]}" 2>/dev/null || true
    workers=()
    exec 7>&-
    umount "$dir/inner"
    echo "$how: $sound images held every acknowledged commit, $lost did not"
    counted=$lost
}

run synced
[ "$counted" = 0 ] || { echo "FAILED: acknowledged commits were lost"; exit 1; }
run unsynced
[ "$counted" -gt 0 ] || { echo "FAILED: nothing was lost without syncing, so the check proves nothing"; exit 1; }
echo "PASSED: nothing acknowledged is lost; without syncing $counted of $images images lose something"
