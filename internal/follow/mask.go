package follow

import (
	"strings"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// masker hides the values of secret parameters in what is shown.
type masker []string

// secretsOf returns the values of the parameters that the workflow of ex
// declares secret.
func secretsOf(ex *v1alpha1.WorkflowExecution) masker {
	if ex.Status.Workflow == nil {
		return nil
	}
	var secrets masker
	for _, p := range ex.Status.Workflow.Parameters {
		if value := ex.Spec.Parameters[p.Name]; p.Secret && value != "" {
			secrets = append(secrets, value)
		}
	}
	return secrets
}

func (m masker) mask(text string) string {
	for _, secret := range m {
		text = strings.ReplaceAll(text, secret, "********")
	}
	return text
}
