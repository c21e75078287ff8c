# Databricks notebook source
# MAGIC %md
# MAGIC # Clean customer records
# MAGIC
# MAGIC Cleans Parquet files of customer records with the rules of `tranship run`, and writes a table that has each
# MAGIC customer once. Rejected records, with their reasons, are a second table.
# MAGIC
# MAGIC Needs a runtime with Apache Spark 4, Python 3.11 or newer and pandas 2.2 or newer.

# COMMAND ----------

# MAGIC %pip install /Volumes/main/crm/packages/tranship-0.1.0-py3-none-any.whl

# COMMAND ----------

dbutils.widgets.text("source", "/Volumes/main/crm/in/customers", "Folder of Parquet files")
dbutils.widgets.text("work", "/Volumes/main/crm/tmp", "Folder for tables between the steps")
dbutils.widgets.text("table", "main.crm.customers", "Table of customers")

# COMMAND ----------

# MAGIC %md
# MAGIC The place of a record, a file and a row in it, appears in all results. It also decides between records that
# MAGIC nothing else sets apart: the one read last survives.

# COMMAND ----------

records = spark.read.parquet(dbutils.widgets.get("source"))
records = records.select("*", "_metadata.file_path", "_metadata.row_index")

# COMMAND ----------

from tranship.spark import clean

cleaned = clean(records, work=dbutils.widgets.get("work"), place=("file_path", "row_index"))
for note in cleaned.notes:
    print(note)

# COMMAND ----------

# MAGIC %md
# MAGIC `counts` is the ledger of all records. It raises an error if one was lost or doubled, so read it before you
# MAGIC write anything.

# COMMAND ----------

counts = cleaned.counts
print(counts)

# COMMAND ----------

table = dbutils.widgets.get("table")
cleaned.customers.write.mode("overwrite").saveAsTable(table)
cleaned.rejects.write.mode("overwrite").option("mergeSchema", "true").saveAsTable(f"{table}_rejects")
display(cleaned.rejects.groupBy("_codes", "_reasons").count())

# COMMAND ----------

# MAGIC %md
# MAGIC The results read the tables in the work folder. Now they are written, and it can be removed.

# COMMAND ----------

dbutils.fs.rm(cleaned.folder, recurse=True)
dbutils.notebook.exit(f"customers: {counts.customers}, rejected: {counts.rejected}")
