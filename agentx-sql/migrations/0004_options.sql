-- Schema 4: what was sent with a queued message, for the driver of its turn, as JSON text.

ALTER TABLE queue ADD COLUMN options TEXT;
