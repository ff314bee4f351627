// Package postgres keeps the audit trail and the catalog in PostgreSQL, version 15
// or later. It implements datastorage.Trail and datastorage.Catalog; its schema is
// in migrations/, the rights of the service's role in grants.sql.
package postgres
