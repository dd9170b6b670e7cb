-- Schema 2: events with numbers, leases, queued messages, approvals; keys and parents of images.

ALTER TABLE images ADD COLUMN key TEXT;
ALTER TABLE images ADD COLUMN parent_image_id TEXT;

-- A key is given once in a container. Nulls are not equal to one another.
CREATE UNIQUE INDEX idx_images_key ON images(container_id, key);

-- The few messages that say which others are shown to a model.
CREATE INDEX idx_messages_mark ON messages(session_id, id) WHERE role IN ('summary', 'rewind');

-- The numbers of a session's events are 1, 2, 3, … An event without data is told by its message, by that alone or
-- together with its type and turn.
CREATE TABLE events (
  session_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  turn_id TEXT,
  message_id TEXT,
  data TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq),
  FOREIGN KEY (session_id) REFERENCES sessions(session_id)
) WITHOUT ROWID;

-- Each message has its event, also one that is older than events are.
INSERT INTO events (session_id, seq, type, message_id, created_at)
  SELECT session_id, row_number() OVER (PARTITION BY session_id ORDER BY id),
    CASE role WHEN 'tool' THEN 'tool_result_message' ELSE role || '_message' END, message_id, created_at
  FROM messages;

-- The last lease of a session. Its token only grows.
CREATE TABLE leases (
  session_id TEXT PRIMARY KEY NOT NULL,
  token INTEGER NOT NULL,
  holder TEXT NOT NULL,
  held INTEGER NOT NULL,
  until INTEGER NOT NULL,
  FOREIGN KEY (session_id) REFERENCES sessions(session_id)
) WITHOUT ROWID;

-- Whether a session of the schema before was left in the middle of a turn is not known: whoever takes it up looks.
INSERT INTO leases (session_id, token, holder, held, until) SELECT session_id, 1, '', 1, 0 FROM sessions;

CREATE TABLE queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  content TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (session_id, message_id),
  FOREIGN KEY (session_id) REFERENCES sessions(session_id)
);

CREATE TABLE approvals (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  approval_id TEXT NOT NULL UNIQUE,
  session_id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  call TEXT NOT NULL,
  reason TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  decision TEXT,
  answered_at INTEGER,
  closed INTEGER NOT NULL,
  FOREIGN KEY (session_id) REFERENCES sessions(session_id)
);

CREATE INDEX idx_queue_session ON queue(session_id);
CREATE INDEX idx_approvals_session ON approvals(session_id, id);
CREATE INDEX idx_approvals_open ON approvals(session_id, id) WHERE closed = 0;
