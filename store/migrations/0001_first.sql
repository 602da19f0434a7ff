-- The node's truth. Every record is one JSON document, replaced as a whole; a column stands beside
-- it only where a query needs an index. No foreign keys: receipts, events and tombstones outlive
-- the session that they speak of.

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE receipts (
    command_id TEXT PRIMARY KEY,
    at_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX receipts_by_age ON receipts (at_us);
CREATE INDEX receipts_accepted ON receipts (at_us) WHERE state = 'accepted';

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE tombstones (
    id TEXT PRIMARY KEY,
    ended_at_us INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX tombstones_by_age ON tombstones (ended_at_us);

CREATE TABLE tokens (
    accessor TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- What a commit writes into: the rows of a whole group of changes go in by one INSERT. One
-- statement is one transaction and one trip to the connection's thread, and it is atomic by
-- itself. A row without a record deletes.
CREATE VIEW changes (kind, id, at_us, state, record) AS
    SELECT NULL, NULL, NULL, NULL, NULL;

CREATE TRIGGER put_session INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'session' AND NEW.record IS NOT NULL
BEGIN
    INSERT INTO sessions (id, record) VALUES (NEW.id, NEW.record)
    ON CONFLICT (id) DO UPDATE SET record = excluded.record;
END;

CREATE TRIGGER delete_session INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'session' AND NEW.record IS NULL
BEGIN
    DELETE FROM sessions WHERE id = NEW.id;
END;

CREATE TRIGGER put_receipt INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'receipt'
BEGIN
    INSERT INTO receipts (command_id, at_us, state, record)
    VALUES (NEW.id, NEW.at_us, NEW.state, NEW.record)
    ON CONFLICT (command_id) DO UPDATE
    SET at_us = excluded.at_us, state = excluded.state, record = excluded.record;
END;

CREATE TRIGGER put_event INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'event'
BEGIN
    INSERT INTO events (id, record) VALUES (NEW.id, NEW.record)
    ON CONFLICT (id) DO UPDATE SET record = excluded.record;
END;

CREATE TRIGGER put_tombstone INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'tombstone' AND NEW.record IS NOT NULL
BEGIN
    INSERT INTO tombstones (id, ended_at_us, record) VALUES (NEW.id, NEW.at_us, NEW.record)
    ON CONFLICT (id) DO UPDATE SET ended_at_us = excluded.ended_at_us, record = excluded.record;
END;

CREATE TRIGGER delete_tombstone INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'tombstone' AND NEW.record IS NULL
BEGIN
    DELETE FROM tombstones WHERE id = NEW.id;
END;

CREATE TRIGGER put_token INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'token' AND NEW.record IS NOT NULL
BEGIN
    INSERT INTO tokens (accessor, record) VALUES (NEW.id, NEW.record)
    ON CONFLICT (accessor) DO UPDATE SET record = excluded.record;
END;

CREATE TRIGGER delete_token INSTEAD OF INSERT ON changes
WHEN NEW.kind = 'token' AND NEW.record IS NULL
BEGIN
    DELETE FROM tokens WHERE accessor = NEW.id;
END;
