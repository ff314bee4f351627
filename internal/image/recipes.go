package image

import (
	_ "embed"

	"kubernaut.ai/kubernaut/internal/build"
)

// Names of the images, as the chart and the environment call them.
const (
	Pause       = "pause"
	CoreDNS     = "coredns"
	Registry    = "registry"
	PostgreSQL  = "postgresql"
	Redis       = "redis"
	DataStorage = "datastorage"
	Controller  = "controller"
	// Shell runs the scripts of Tekton's steps.
	Shell = "shell"
	// Tools is for steps of workflows: a shell and kubectl.
	Tools = "tools"
)

// TektonCommands are the programs of Tekton that have an image of their own,
// called tekton-<command>.
var TektonCommands = []string{
	"controller", "entrypoint", "events", "nop", "resolvers", "sidecarlogresults", "webhook", "workingdirinit",
}

// Tekton is the name of the image of one of Tekton's commands.
func Tekton(command string) string { return "tekton-" + command }

// Recipes lists every image of the environment.
func Recipes() []Recipe {
	recipes := []Recipe{
		program(Pause, build.Pause),
		program(CoreDNS, build.CoreDNS),
		program(Registry, build.Registry),
		dataStorage,
		program(Controller, build.Controller),
		postgresql,
		redis,
		shell,
		tools,
	}
	for _, command := range TektonCommands {
		recipes = append(recipes, tekton(command))
	}
	return recipes
}

func program(name string, p build.Program) Recipe {
	return FromProgram(name, "/usr/local/bin/"+p.Name, p)
}

const authorities = "/etc/ssl/certs/ca-certificates.crt"

// tekton has the program where Tekton's manifests and pods look for it, and
// what upstream's images have beside it: the resolvers an init that reaps git's
// children, and both readers of registries the public authorities.
func tekton(command string) Recipe {
	r := FromProgram(Tekton(command), "/ko-app/"+command, build.Tekton(command))
	switch command {
	case "resolvers":
		r.Files = []string{authorities}
		r.Copies = []Copy{{Source: "/usr/bin/tini-static", Path: "/sbin/tini"}}
	case "controller":
		r.Files = []string{authorities}
	}
	return r
}

var (
	// Data Storage looks at bundles in public registries, too.
	dataStorage = func() Recipe {
		r := program(DataStorage, build.DataStorage)
		r.Files = []string{authorities}
		return r
	}()
	shell = FromPackages(Shell, Config{Entrypoint: []string{"/bin/sh"}, User: NonRoot})
	tools = func() Recipe {
		r := FromPackages(Tools, Config{Entrypoint: []string{"/bin/sh"}, Env: []string{"HOME=/tmp"}, User: NonRoot})
		r.Programs = []Program{{Program: build.Kubectl, Path: "/usr/local/bin/kubectl"}}
		r.Repository = "kubernaut/tools"
		return r
	}()
)

//go:embed entrypoint/postgresql.sh
var postgresqlEntrypoint string

const (
	postgresMajor = "15"
	postgresHome  = "/usr/lib/postgresql/" + postgresMajor
	// databaseUser is the user of PostgreSQL and Redis, as in their well-known images.
	databaseUser = 999
)

// postgresql leaves out the just-in-time compiler (LLVM, 150 MB), which small
// queries never start, translations and what only builds extensions.
var postgresql = func() Recipe {
	r := FromPackages(PostgreSQL,
		Config{
			Entrypoint: []string{"/usr/local/bin/postgresql"},
			Env:        []string{"PATH=" + postgresHome + "/bin:" + searchPath, "PG_MAJOR=" + postgresMajor, "LANG=C.UTF-8"},
			User:       databaseUser,
		},
		Package{
			Name: "postgresql-" + postgresMajor,
			Keep: []string{postgresHome + "/bin/", postgresHome + "/lib/", "/usr/share/postgresql/" + postgresMajor + "/"},
			Drop: []string{
				postgresHome + "/lib/bitcode", postgresHome + "/lib/bitcode/", postgresHome + "/lib/llvmjit.so",
				postgresHome + "/lib/llvmjit_types.bc", postgresHome + "/lib/pgxs/",
				"/usr/share/postgresql/" + postgresMajor + "/man/",
			},
		},
		Package{
			Name: "postgresql-client-" + postgresMajor,
			Keep: []string{postgresHome + "/bin/psql", postgresHome + "/bin/pg_isready", postgresHome + "/bin/pg_dump", postgresHome + "/bin/pg_restore"},
		},
		Package{Name: "libc-bin", Keep: []string{"/usr/bin/locale", "/usr/lib/locale/C.utf8/"}},
		Package{Name: "tzdata", Keep: []string{"/usr/share/zoneinfo/"}, Drop: []string{"/usr/share/zoneinfo/right/", "/usr/share/zoneinfo/posix/"}},
	)
	r.User = "postgres"
	r.Texts = []Text{{Path: "/usr/local/bin/postgresql", Content: postgresqlEntrypoint, Mode: 0o755}}
	r.Folders = []Folder{{Path: "/var/lib/postgresql"}, {Path: "/var/run/postgresql"}}
	return r
}()

var redis = func() Recipe {
	r := FromPackages(Redis, Config{Entrypoint: []string{"/usr/bin/redis-server"}, User: databaseUser, WorkingDir: "/data"},
		Package{Name: "redis-server", Keep: []string{"/usr/bin/redis-server"}},
		Package{Name: "redis-tools", Keep: []string{"/usr/bin/redis-cli", "/usr/bin/redis-check-rdb"}},
	)
	r.User = "redis"
	r.Folders = []Folder{{Path: "/data"}}
	return r
}()
