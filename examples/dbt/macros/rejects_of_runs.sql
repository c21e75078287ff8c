{# Where each rejected record of the kept runs was, and why. The records themselves stay in the state directory. A run
   without rejects has no such file; if there is none at all, the table has no rows. #}
{% macro rejects_of_runs() %}
  {% if execute %}
    {% set files = env_var('TRANSHIP_STATE_DIR') ~ '/runs/*/rejects.parquet' %}
    {% set found = run_query("select count(*) from glob('" ~ files ~ "')").rows[0][0] %}
    create or replace table {{ target.schema }}.tranship_rejects as
    {% if found %}
      select split_part(filename, '/', -2) as run_id, _source as source, _line as line, _codes as codes
      from read_parquet('{{ files }}', union_by_name = true, filename = true)
    {% else %}
      select '' as run_id, '' as source, 0 as line, '' as codes where false
    {% endif %}
  {% endif %}
{% endmacro %}
