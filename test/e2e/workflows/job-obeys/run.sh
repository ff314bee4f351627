#!/bin/sh
echo "$GREETING"
echo "login with $PASSWORD refused"
echo "looking at $TARGET_RESOURCE"
while :; do
    code=$(kubectl -n "${TARGET_RESOURCE%%/*}" get "${TARGET_RESOURCE#*/}" -o 'jsonpath={.metadata.annotations.spec/exit}')
    [ -z "$code" ] || exit "$code"
    sleep 0.2
done
