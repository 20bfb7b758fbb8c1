"""Ultrasound DICOM: what a file is, its frames in grey, its sector."""
