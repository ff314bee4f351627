package follow

import (
	"bufio"
	"io"
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

const masked = "********"

func (m masker) mask(text string) string {
	for _, secret := range m {
		text = strings.ReplaceAll(text, secret, masked)
	}
	return text
}

// Masked returns ex as it is shown: with the values of its secret parameters hidden,
// and without managedFields, which kubectl leaves out too.
func Masked(ex *v1alpha1.WorkflowExecution) *v1alpha1.WorkflowExecution {
	shown := ex.DeepCopy()
	shown.ManagedFields = nil
	secrets := secretsOf(ex)
	for name, value := range shown.Spec.Parameters {
		shown.Spec.Parameters[name] = secrets.mask(value)
	}
	return shown
}

// LinesOf hands each line of from to show, with the values of the secret
// parameters of ex masked and control characters replaced.
func LinesOf(from io.Reader, ex *v1alpha1.WorkflowExecution, show func(line string)) error {
	secrets := secretsOf(ex)
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		show(printable(secrets.mask(scanner.Text())))
	}
	return scanner.Err()
}
