-- The catalog of workflows. A version never changes but for its status: the role
-- of the service may update those columns and no others, see grants.sql.

-- +goose Up
CREATE TABLE workflows (
    workflow_id          uuid         PRIMARY KEY,
    workflow_name        varchar(253) NOT NULL CHECK (workflow_name <> ''),
    version              varchar(50)  NOT NULL CHECK (version <> ''),
    version_key          text COLLATE "C" NOT NULL, -- sorts as semantic versions do
    prerelease           boolean      NOT NULL,
    digest               bytea        NOT NULL CHECK (octet_length(digest) = 32), -- of all that never changes
    name                 varchar(255) NOT NULL,
    description          varchar(4096) NOT NULL,
    owner                varchar(255),
    content              varchar(262144) NOT NULL,
    content_hash         varchar(64)  NOT NULL CHECK (content_hash = encode(sha256(convert_to(content, 'UTF8')), 'hex')),
    signal_type          varchar(100) NOT NULL,
    severity             varchar(20)  NOT NULL,
    component            varchar(100) NOT NULL,
    environment          varchar(50)  NOT NULL,
    priority             varchar(20)  NOT NULL,
    custom_labels        jsonb        NOT NULL CHECK (jsonb_typeof(custom_labels) = 'object'),
    parameters           jsonb        NOT NULL CHECK (jsonb_typeof(parameters) = 'array'),
    execution_engine     varchar(50)  NOT NULL,
    container_image      varchar(512) NOT NULL,
    container_digest     varchar(71),
    service_account_name varchar(253),
    secrets              text[]       NOT NULL,
    config_maps          text[]       NOT NULL,
    risk                 varchar(10)  CHECK (risk IN ('low', 'medium', 'high')),
    created_at           timestamptz  NOT NULL DEFAULT now(),
    created_by           varchar(255),
    status               varchar(20)  NOT NULL CHECK (status IN ('active', 'deprecated', 'disabled', 'archived')),
    status_reason        varchar(1024),
    updated_at           timestamptz  NOT NULL DEFAULT now(),
    updated_by           varchar(255),
    UNIQUE (workflow_name, version)
);

-- Versions in order, and the latest: the highest active one that is no pre-release.
CREATE UNIQUE INDEX workflows_order ON workflows (workflow_name, version_key);
CREATE INDEX workflows_latest ON workflows (workflow_name, version_key) WHERE status = 'active' AND NOT prerelease;
