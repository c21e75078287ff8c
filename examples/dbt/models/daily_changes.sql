select
    cast(changed_at as date) as day,
    count(*) filter (where action = 'create') as created,
    count(*) filter (where action = 'update') as updated,
    count(*) filter (where action = 'delete') as deleted
from {{ source('tranship', '_tranship_changes') }}
group by day
