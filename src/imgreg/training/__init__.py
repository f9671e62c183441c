"""Trainings: photos and settings in, trained heads, run folders and repeated trials out. Nothing here prints."""
