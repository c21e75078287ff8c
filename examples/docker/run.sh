#!/bin/sh
# Runs the image once, for cron or systemd on the host. Everything but the state and /tmp is read-only.
set -eu
: "${CRM_EXPORTS:?Set CRM_EXPORTS to the folder with the exports.}"
: "${CRM_CONFIG:?Set CRM_CONFIG to the path of crm.toml.}"
exec docker run --rm --name crm \
    --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 2g --stop-timeout 120 \
    --volume crm-state:/state \
    --volume "$CRM_EXPORTS:/exports:ro" \
    --volume "$CRM_CONFIG:/pipeline/crm.toml:ro" \
    --env CRM_SOURCE --env CRM_DESTINATION --env CRM_ALERT --env PGPASSWORD \
    tranship "$@"
