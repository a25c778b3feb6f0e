"""The sections of `rotator.yaml`, one file each; `rotator.settings.model` puts them together."""
