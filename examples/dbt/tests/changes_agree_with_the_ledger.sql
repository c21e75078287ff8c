-- The rows of a run in _tranship_changes are those that its row in the ledger counts.
select ledger.run_id
from {{ source('tranship', '_tranship_ledger') }} as ledger
left join {{ source('tranship', '_tranship_changes') }} as changes using (run_id)
group by ledger.run_id, ledger.created, ledger.updated, ledger.deleted
having count(changes.run_id) <> ledger.created + ledger.updated + ledger.deleted
