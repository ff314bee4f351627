package follow

import (
	"bufio"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// masker hides the values of secret parameters in what is shown.
type masker []string

// secretsOf returns the values of the parameters that the workflow of ex
// declares secret, the longest first: one may be a part of another. While it is
// not known what the workflow declares, that is all of them.
func secretsOf(ex *v1alpha1.WorkflowExecution) masker {
	var secrets masker
	for name, value := range ex.Spec.Parameters {
		if value != "" && mayBeSecret(ex.Status.Workflow, name) {
			secrets = append(secrets, value)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return secrets
}

func mayBeSecret(w *v1alpha1.ResolvedWorkflow, parameter string) bool {
	return w == nil || slices.ContainsFunc(w.Parameters, func(p v1alpha1.DeclaredParameter) bool { return p.Secret && p.Name == parameter })
}

const masked = "********"

func (m masker) mask(text string) string {
	for _, secret := range m {
		text = strings.ReplaceAll(text, secret, masked)
	}
	return text
}

// Masked returns ex as it is shown: with the values of its secret parameters hidden,
// without managedFields, which kubectl leaves out too, and without what kubectl keeps
// of the file it applied, which has those values once more.
func Masked(ex *v1alpha1.WorkflowExecution) *v1alpha1.WorkflowExecution {
	shown := ex.DeepCopy()
	shown.ManagedFields = nil
	delete(shown.Annotations, corev1.LastAppliedConfigAnnotation)
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
