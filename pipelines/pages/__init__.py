"""HTML pages for people: the report of a run, the page of a plan, and the page of a migration."""
