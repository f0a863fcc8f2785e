#!/bin/sh
# What five published models predict for the test folds of Matbench's moduli, as rows of the boards of
# jobs/matbench/finetune.yaml. The data set must have been ingested (jobs/matbench/ingest.yaml).
set -eu

for modulus in K:kvrh G:gvrh; do
    omnimat leaderboard import-predictions "$OMNIMAT_DATA/matbench/moduli_predictions.parquet" \
        --dataset matbench-moduli --task "matbench log ${modulus%:*}" \
        --where "task=matbench_log_${modulus#*:}" --target-column target --fold-column fold \
        --column congn=coNGN --citation "congn=Ruff et al., Digital Discovery 3, 594 (2024)" \
        --column alignn=ALIGNN --citation "alignn=Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021)" \
        --column "cgcnn_2019=CGCNN (2019)" \
        --citation "cgcnn_2019=Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018)" \
        --column "random_forest=random forest" \
        --citation "random_forest=Dunn et al., npj Comput. Mater. 6, 138 (2020)" \
        --column automatminer=AutoMatminer \
        --citation "automatminer=Dunn et al., npj Comput. Mater. 6, 138 (2020)" \
        --licence MIT --source-url https://github.com/materialsproject/matbench/tree/936176db
done
