// Package datastorage is the service that keeps the audit trail and the catalog of
// workflows, behind the HTTP contract of api/datastorage/v1.
//
//	HTTP ──► read strictly ──► check (pure) ──► store, else park ──► answer
//
// What it stores to are ports: Trail and Catalog (package postgres) and Overflow
// (package overflow). It acknowledges an event only when one of them has it on
// disk, and says which.
package datastorage
