package environment

import (
	"kubernaut.ai/kubernaut/internal/environment/plan"
	"kubernaut.ai/kubernaut/internal/environment/run"
)

// component is a step of the plan together with its work.
type component struct {
	plan.Step
	work run.Task
}

// needs are what a step needs as a whole.
func needs(objects ...plan.Object) []plan.Need {
	all := make([]plan.Need, len(objects))
	for i, o := range objects {
		all[i] = plan.Need{Of: o}
	}
	return all
}

// planOf checks the components' steps and returns the plan with its tasks.
func planOf(components []component) (*plan.Plan, map[string]run.Task, error) {
	steps := make([]plan.Step, len(components))
	tasks := map[string]run.Task{}
	for i, c := range components {
		steps[i] = c.Step
		tasks[c.Name] = c.work
	}
	p, err := plan.Of(steps...)
	return p, tasks, err
}
