-- The last run has rejected few records.
{{ config(severity = 'warn') }}
select run_id, rejected
from {{ source('tranship', '_tranship_ledger') }}
where rejected > {{ var('most_rejects') }}
qualify row_number() over (order by finished_at desc) = 1
