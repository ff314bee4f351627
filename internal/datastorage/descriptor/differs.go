package descriptor

import (
	"reflect"

	api "kubernaut.ai/kubernaut/api/datastorage/v1"
	"kubernaut.ai/kubernaut/internal/datastorage/catalog"
)

// RegistryVariable stands before an image of the installation that the workflow is
// published in.
const RegistryVariable = "${REGISTRY}/"

// Disagreements says in which fields an entry of the catalog says something else
// than the descriptor it was registered with.
func (d *Descriptor) Disagreements(entry api.WorkflowSpec) []api.FieldProblem {
	own := d.Spec(entry.ContainerImage, entry.ContainerDigest) // what runs is made when it is published
	var found []api.FieldProblem
	differs := func(field string) {
		found = append(found, api.FieldProblem{Field: field, Message: "is not what the " + File + " in content says"})
	}
	for _, f := range catalog.Fields {
		if f.Get(&own) != f.Get(&entry) {
			differs(f.Name)
		}
	}
	here, there := catalog.Workflow(own), catalog.Workflow(entry)
	for _, f := range []struct {
		name        string
		here, there any
		size        int // of both; 0: both are empty, whatever they are made of
	}{
		{"execution_engine", here.ExecutionEngine, there.ExecutionEngine, 1},
		{"risk", here.Risk, there.Risk, 1},
		{"parameters", here.Parameters, there.Parameters, 1},
		{"custom_labels", here.CustomLabels, there.CustomLabels, len(here.CustomLabels) + len(there.CustomLabels)},
		{"secrets", here.Secrets, there.Secrets, len(here.Secrets) + len(there.Secrets)},
		{"config_maps", here.ConfigMaps, there.ConfigMaps, len(here.ConfigMaps) + len(there.ConfigMaps)},
	} {
		if f.size > 0 && !reflect.DeepEqual(f.here, f.there) {
			differs(f.name)
		}
	}
	return found
}
