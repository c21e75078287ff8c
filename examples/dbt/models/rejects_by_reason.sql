select run_id, code, count(*) as records
from (
    select run_id, unnest(string_split(codes, ' ')) as code
    from {{ source('tranship_runs', 'tranship_rejects') }}
)
group by run_id, code
