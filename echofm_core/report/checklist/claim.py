"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, 2024 update: 44 items.

Checked: number and topic of all items, against one public summary of the table, which calls itself
unverified, and our knowledge of it. Not checked: the published table itself, which was out of
reach; its wording is not here.

Source: Tejani et al., Radiology: Artificial Intelligence 2024, 6(4):e240300.
"""

from echofm_core.report.checklist import data, model, results
from echofm_core.report.checklist.item import Checklist, Item

CLAIM = Checklist(
    name="CLAIM 2024",
    source="Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300",
    items=(
        Item("1", "title: AI, and of which kind", (model.kind,), "the title"),
        Item("2", "abstract"),
        Item("3", "background, intended use and clinical role"),
        Item("4", "aims and hypotheses"),
        Item("5", "prospective or retrospective"),
        Item("6", "goal of the study", (model.goal,), "intended use"),
        Item("7", "sources of data", (data.sources,), "links, and how sites were chosen"),
        Item("8", "inclusion and exclusion", (data.eligibility,), "clinical criteria"),
        Item("9", "preprocessing", (model.preprocessing,)),
        Item("10", "selection of subsets", (data.subset,)),
        Item("11", "de-identification"),
        Item("12", "missing data", (data.missing,), "why they are missing"),
        Item("13", "image acquisition", (data.acquisition,), "protocol of acquisition"),
        Item("14", "reference standard: definition", (data.reference,), "how it was measured"),
        Item("15", "reference standard: why this one"),
        Item("16", "who annotated"),
        Item("17", "how the test set was annotated"),
        Item("18", "variability between and within annotators"),
        Item("19", "assignment to partitions", (data.partitions,)),
        Item("20", "level at which partitions are disjoint", (data.disjoint,)),
        Item("21", "sample size of the test", (results.sizes,), "how it was chosen"),
        Item("22", "model", (model.architecture, model.outputs)),
        Item("23", "software", (model.software,)),
        Item("24", "initial parameters", (model.initialisation,)),
        Item("25", "training", (model.training, model.tuning), "how these values were found"),
        Item("26", "selection of the final model", (model.selection,)),
        Item("27", "ensembling", (model.ensembling,)),
        Item("28", "metrics", (results.measures,), "why these"),
        Item("29", "uncertainty and significance", (results.uncertainty,)),
        Item("30", "robustness", (results.robustness,)),
        Item("31", "explainability"),
        Item("32", "internal testing", (results.internal,)),
        Item("33", "external testing", (results.external,)),
        Item("34", "registration of a trial"),
        Item(
            "35",
            "numbers included and excluded",
            (data.partitions, data.missing),
            "a diagram of the flow before the data sets",
        ),
        Item("36", "characteristics by partition", (data.characteristics,), "clinical ones"),
        Item("37", "performance", (results.internal, results.external, results.subgroups)),
        Item("38", "accuracy with intervals", (results.accuracy, results.calibration)),
        Item("39", "failures", (results.failures,), "examples, read by a clinician"),
        Item("40", "limitations", (results.limitations,), "all others"),
        Item("41", "implications for practice"),
        Item("42", "full protocol"),
        Item(
            "43",
            "availability of software, model and data",
            (model.specification, model.software),
            "where, and on which terms",
        ),
        Item("44", "funding"),
    ),
)
