-- Schema 1. A statement ends where a line ends with a semicolon; each is sent by itself.
-- Moments are milliseconds since 1970; config, mcp_servers, metadata and content are JSON text.

CREATE TABLE containers (
  container_id TEXT PRIMARY KEY NOT NULL,
  config TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE images (
  image_id TEXT PRIMARY KEY NOT NULL,
  container_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT,
  system_prompt TEXT,
  mcp_servers TEXT,
  metadata TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  FOREIGN KEY (container_id) REFERENCES containers(container_id)
);

CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY NOT NULL,
  image_id TEXT NOT NULL,
  container_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  FOREIGN KEY (image_id) REFERENCES images(image_id)
);

-- The id is the message's place: AUTOINCREMENT never gives one twice, not even after a delete, so that a reader's
-- cursor stays good.
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  role TEXT NOT NULL,
  content TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (session_id, message_id),
  FOREIGN KEY (session_id) REFERENCES sessions(session_id)
);

CREATE INDEX idx_images_container ON images(container_id);
CREATE INDEX idx_sessions_container ON sessions(container_id);
CREATE INDEX idx_sessions_image ON sessions(image_id);
CREATE INDEX idx_messages_session ON messages(session_id);
