"""MIMIC-IV-ECHO-LVVOL-A4C (Boston): apical four-chamber DICOM cines with volumes and EF.

Layout: ``FileList.csv`` and ``dicom/STUDY.dcm``. Its patients are patients of MIMIC-IV-ECHO too and
carry the same numbers, so that splits over both keep each patient on one side.

Labels are those traced in the four-chamber view; where a row has only the biplane ones, these are
taken, and noted, because the two methods differ.
"""

from collections.abc import Iterator

from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._dicom import headers_of
from echofm_core.data.readers._source import Row, Source, integer, number, safe_name
from echofm_core.data.readers._tables import read_table
from echofm_core.tasks import Task

COLUMNS = ("patient_id", "study_id", "LVEF_A4C", "LVEDV_A4C", "LVESV_A4C")
LABELS = {Task.EF: "LVEF", Task.EDV: "LVEDV", Task.ESV: "LVESV"}
LABEL_COLUMNS = [f"{name}_{method}" for name in LABELS.values() for method in ("A4C", "BP")]


class MimicLvvolA4cReader(Reader):
    """Reads version 1.0.0 as downloaded; there is no official split."""

    dataset = "mimic_lvvol_a4c"
    layouts = (("FileList.csv", "dicom/"),)

    def rows(self, source: Source) -> Iterator[Row]:
        """The listed grey cines."""
        table = read_table(source.root / "FileList.csv", COLUMNS)
        first: dict[str, dict[str, str]] = {}
        listed: dict[str, int] = {}
        for index, values in enumerate(table.rows):
            study, item = values["study_id"], table.item(index)
            if study in first:
                source.settle(first[study] or values, values, item, LABEL_COLUMNS, "study")
            elif not values["patient_id"].lstrip("p") or study != safe_name(study):
                source.quarantined("bad_path", item, "The row does not name a patient and a study.")
                first[study] = {}
            else:
                first[study] = values
                listed[f"dicom/{study}.dcm"] = index
        for (item, index), columns in zip(
            listed.items(), headers_of(source, list(listed)), strict=True
        ):
            if columns is not None:
                columns.update(_columns(source, table.rows[index], columns, item))
                yield {**columns, "source_row": index}
        for path in sorted((source.root / "dicom").glob("*.dcm")):
            if path.stem not in first:
                reason = "The file is not in FileList.csv, so it has no patient and no label."
                source.quarantined("unlisted_file", f"dicom/{path.name}", reason)


def _columns(source: Source, values: dict[str, str], header: Row, item: str) -> Row:
    """Ids and labels of a row, compared with the file's header."""
    declared = integer(values.get("number_of_frames"))
    if declared is not None and declared != header["n_frames"]:
        reason = f"FileList.csv says {declared} frames, the header {header['n_frames']}."
        source.repaired("frame_count", item, reason)
    method = "A4C"
    if number(values["LVEF_A4C"]) is None and number(values.get("LVEF_BP")) is not None:
        method = "BP"
        source.noted("biplane_label", item, "Only biplane labels are given; they are taken.")
    texts = {task: values.get(f"{name}_{method}") for task, name in LABELS.items()}
    return {
        "patient_id": values["patient_id"].lstrip("p"),
        "study_id": values["study_id"],
        "clip_id": f"lvvol_{values['study_id']}",
        "view": "A4C",
        **source.labels(texts, item),
    }
