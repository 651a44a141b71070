"""All weight files that fsv2v uses. `manifest.toml` lists them; `registry` finds, fetches and checks them."""
