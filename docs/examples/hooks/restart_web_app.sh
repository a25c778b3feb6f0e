#!/bin/sh
# Lets a web app of App Service read the vault again, and restarts it.
# Usage: restart_web_app.sh NAME RESOURCE_GROUP
#
# App Service keeps what its settings refer to in the vault for up to 24 hours. A restart alone need not change that.
set -eu
name="${1:?name the web app}"
group="${2:?name the resource group}"
command -v az >/dev/null || { echo "the Azure CLI is not installed: there is no az on the PATH" >&2; exit 1; }

id=$(az webapp show --name "$name" --resource-group "$group" --query id --output tsv --only-show-errors)
if [ "$ROTATOR_HOOK_EVENT" = test ]; then
  echo "$id is found; a test changes nothing"
  exit
fi
az rest --method post --url "$id/config/configreferences/appsettings/refresh?api-version=2022-03-01" \
  --output none --only-show-errors
az webapp restart --name "$name" --resource-group "$group" --only-show-errors
echo "$name reads the vault again"
