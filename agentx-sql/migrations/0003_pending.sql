-- Schema 3: what waits for an answer is found without a look at what no longer does.

CREATE INDEX idx_approvals_pending ON approvals(id) WHERE closed = 0 AND decision IS NULL;
