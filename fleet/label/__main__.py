"""The labelling stage as a child process: ``python -m fleet.label JOB.json OUT``."""

import sys
from pathlib import Path

import msgspec

from fleet.label.stage import LabelJob, label_clips, write_labelled

if __name__ == "__main__":
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LabelJob)
    write_labelled(label_clips(job), Path(sys.argv[2]))
