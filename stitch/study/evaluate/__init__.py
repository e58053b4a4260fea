"""How good an edit is, whoever made it: two clips compared, measure by measure, and a report to look at."""
