#!/usr/bin/env bash
# Submits clean_customers.py to an Amazon EMR cluster with Apache Spark 4. README.md says how to make the environment.
#
#   CLUSTER=j-1ABCDEFGHIJKL BUCKET=my-lake ./emr.sh
set -euo pipefail
: "${CLUSTER:?Set CLUSTER to the id of the cluster, such as j-1ABCDEFGHIJKL.}"
: "${BUCKET:?Set BUCKET to the name of the bucket that has the environment and the records.}"
cd "$(dirname "$0")"

aws s3 cp clean_customers.py "s3://$BUCKET/tranship/clean_customers.py"
arguments=(
    spark-submit
    --deploy-mode cluster
    --archives "s3://$BUCKET/tranship/environment.tar.gz#environment"
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python
    --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python
    --conf spark.executorEnv.POLARS_MAX_THREADS=1
    "s3://$BUCKET/tranship/clean_customers.py"
    --source "s3://$BUCKET/in/customers"
    --results "s3://$BUCKET/clean"
    --work "s3://$BUCKET/tmp"
)
list=$(IFS=,; echo "${arguments[*]}")
aws emr add-steps --cluster-id "$CLUSTER" \
    --steps "Type=CUSTOM_JAR,Name=tranship,ActionOnFailure=CONTINUE,Jar=command-runner.jar,Args=[$list]"
