"""The studies behind the claims, declared in config/studies.yaml; each cell of a study is one job."""
