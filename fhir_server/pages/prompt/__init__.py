"""The page that a hospital's booking opens: it explains what is asked, asks, and leads back with the answer."""
