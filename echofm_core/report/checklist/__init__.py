"""What a run can answer of the reporting checklists CLAIM and TRIPOD+AI."""
