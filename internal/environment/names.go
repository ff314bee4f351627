package environment

import (
	"fmt"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/image"
)

// Names of what the environment makes itself and hands to the chart.
const (
	release            = "kubernaut"
	databaseSecret     = "postgresql"
	redisSecret        = "redis"
	registryLogin      = "registry-htpasswd"
	registryTLS        = v1alpha1.RegistryTLS
	dataStorageTLS     = v1alpha1.DataStorageTLS
	authorityConfigMap = v1alpha1.PublicCA
	pullSecretName     = v1alpha1.DefaultPullSecret
	systemNamespace    = v1alpha1.SystemNamespace
	workflowNamespace  = v1alpha1.WorkflowNamespace

	ownerPassword   = "owner-password"
	servicePassword = "service-password"
	authorityKey    = v1alpha1.CAKey
)

// Components of the chart that others here refer to.
const (
	partNamespaces  = "namespaces"
	partDefinitions = "crds"
	partPostgreSQL  = "postgresql"
	partRedis       = "redis"
	partRegistry    = "registry"
	partMigration   = "migration"
	partDataStorage = "datastorage"
	partController  = "controller"
	partPolicies    = "policies"
	partWorkflows   = "workflows"
)

// PostgreSQL's database and roles.
const (
	databaseName = "kubernaut"
	ownerRole    = "kubernaut_owner"
	serviceRole  = "kubernaut_service"
)

// service is a Service of the environment and the port it is reached at.
type service struct {
	name string
	port int
}

var (
	registryService    = service{"registry", 5000}
	databaseService    = service{"postgresql", 5432}
	dataStorageService = service{"datastorage", 8443}
)

// host is the Service's name for every pod and for the node.
func (s service) host() string { return s.name + "." + v1alpha1.SystemNamespace + ".svc" }

func (s service) address() string { return fmt.Sprintf("%s:%d", s.host(), s.port) }

// hosts are all the names by which pods may call the Service.
func (s service) hosts() []string {
	short := s.name + "." + v1alpha1.SystemNamespace
	all := []string{s.host(), s.name, short, s.host() + ".cluster.local"}
	if s == registryService { // nodes in containers call it by its address
		all = append(all, registryAddress)
	}
	return all
}

// registryAddress is the fixed cluster IP of the registry: the node, which does
// not ask the cluster's DNS, knows it by that.
const registryAddress = "10.96.0.50"

// toolsImage is where workflows find the image for their steps.
func (w *world) toolsImage() string {
	return w.options.registry() + "/kubernaut/" + image.Tools + ":latest"
}

// Things the plan speaks of beside Kubernetes objects.
var (
	machine       = plan.Object{Kind: "Machine", Name: "checked"}
	clusterObject = plan.Object{Kind: "Cluster", Name: "kubernetes"}
	authority     = plan.Object{Kind: "Authority", Name: "services"}
	database      = plan.Object{Kind: "Database", Name: databaseName}
	schema        = plan.Object{Kind: "Schema", Name: databaseName}
	dns           = plan.Object{Kind: "DNS", Name: "cluster.local"}
	admission     = plan.Object{Kind: "Admission", Name: "identity"}
)

func binary(program string) plan.Object { return plan.Object{Kind: "Binary", Name: program} }

func archive(name string) plan.Object { return plan.Object{Kind: "Archive", Name: name} }

// part is a component of the chart when all of it is ready.
func part(name string) plan.Object { return plan.Object{Kind: "Component", Name: name} }

func systemObject(kind, name string) plan.Object {
	return plan.Object{Kind: kind, Namespace: v1alpha1.SystemNamespace, Name: name}
}
