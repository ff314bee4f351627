package environment

import (
	"fmt"
	"testing"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Clients go by the API's constants, the environment by its references to Services.
func TestServicesAreWhereClientsLook(t *testing.T) {
	if got := fmt.Sprintf("https://%s:%d", dataStorageService.host(), dataStorageService.port); got != v1alpha1.DataStorageURL {
		t.Errorf("Data Storage is at %s, clients look at %s", got, v1alpha1.DataStorageURL)
	}
	if got := fmt.Sprintf("%s:%d", registryService.host(), registryService.port); got != v1alpha1.RegistryHost {
		t.Errorf("the registry is at %s, clients look at %s", got, v1alpha1.RegistryHost)
	}
}
