#!/usr/bin/env bash
# Submits clean_customers.py to a Google Dataproc cluster with Apache Spark 4. README.md says how to make the environment.
#
#   CLUSTER=my-cluster REGION=europe-west3 BUCKET=my-lake ./dataproc.sh
set -euo pipefail
: "${CLUSTER:?Set CLUSTER to the name of the cluster.}"
: "${REGION:?Set REGION to the region of the cluster, such as europe-west3.}"
: "${BUCKET:?Set BUCKET to the name of the bucket that has the environment and the records.}"
cd "$(dirname "$0")"

properties=(
    spark.submit.deployMode=cluster
    spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python
    spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python
    spark.executorEnv.POLARS_MAX_THREADS=1
)
gcloud dataproc jobs submit pyspark clean_customers.py \
    --cluster "$CLUSTER" --region "$REGION" \
    --archives "gs://$BUCKET/tranship/environment.tar.gz#environment" \
    --properties "$(IFS=,; echo "${properties[*]}")" \
    -- --source "gs://$BUCKET/in/customers" --results "gs://$BUCKET/clean" --work "gs://$BUCKET/tmp"
