"""What the plug-in for Navidrome asks the service, in Navidrome's own words for songs."""
