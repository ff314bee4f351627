package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/environment/plan"
)

// stepFindings reads what failed steps of the plan say.
func stepFindings(v *view) []Finding {
	var all []Finding
	for _, s := range v.Steps {
		step := plan.Object{Kind: "Step", Name: s.Name}
		if len(s.Findings) > 0 { // it was diagnosed when it failed
			for _, f := range s.Findings {
				f.explains = append(f.explains, step, s.Object)
				all = append(all, f)
			}
			continue
		}
		f, ok := s.told(v)
		if !ok {
			continue
		}
		if f.Object == (plan.Object{}) {
			f.Object = step
		}
		f.explains = append(f.explains, step)
		f.Hopeless = true // the step has failed
		if f.Next == nil {
			f.Next = []string{"kubernaut env up"}
		}
		all = append(all, f)
	}
	return all
}

// who names the step, and the Up it was of where that is over.
func (s Step) who() string {
	if s.At.IsZero() {
		return "step " + s.Name
	}
	return "step " + s.Name + " of the last `kubernaut env up` (" + s.At.UTC().Format(time.DateTime) + " UTC)"
}

// told is what the error of a step tells by itself.
func (s Step) told(v *view) (Finding, bool) {
	if webhookText.MatchString(s.Error) {
		f := Finding{Sentence: s.who() + ": a webhook cannot be called: " + firstLine(s.Error), Evidence: []Evidence{{From: "step " + s.Name, Text: s.Error, At: s.At}}}
		v.webhookRefused(&f, s.Error)
		return f, true
	}
	return teller{who: s.who(), view: v, lines: strings.Split(s.Error, "\n")}.told()
}

// mended leaves out the steps of an Up that is over whose object is ready by
// now, and after which nothing was left to do: somebody has mended it since.
func (v *view) mended() {
	v.Steps = slices.DeleteFunc(slices.Clone(v.Steps), func(s Step) bool { return v.late(s) && len(s.Skipped) == 0 })
}

// late tells whether the step failed in an Up that is over, and its object is
// ready by now.
func (v *view) late(s Step) bool { return !s.At.IsZero() && v.isReady(s.Object) }

// failed is a step that no finding explains.
func (v *view) failed(s Step) Finding {
	f := Finding{
		Code: StepFailed, Hopeless: true, Object: plan.Object{Kind: "Step", Name: s.Name}, Visible: s.At,
		Sentence: s.who() + " failed: " + firstLine(s.Error),
		Evidence: []Evidence{{From: "step " + s.Name, Text: s.Error, At: s.At}},
		Next:     []string{"kubernaut env status"},
	}
	if v.late(s) {
		f.Sentence = fmt.Sprintf("%s failed; %s is ready by now, and what was to follow is not done: %s", s.who(), s.Object, strings.Join(s.Skipped, ", "))
		f.Next = []string{"kubernaut env up"}
	}
	return f
}

// isReady tells whether the object is a workload that is as it should be.
func (v *view) isReady(o plan.Object) bool {
	u, ok := v.objects[o]
	if !ok || u.GetDeletionTimestamp() != nil {
		return false
	}
	switch u.GetKind() {
	case "Deployment", "StatefulSet", "DaemonSet", "Job":
		return !unready(u)
	}
	return false
}

// explainedBy tells whether the finding is why the step failed: it is about the
// object waited for, about the step, or the error speaks of its object.
func (s Step) explainedBy(f Finding) bool {
	step := plan.Object{Kind: "Step", Name: s.Name}
	return f.concerns(step) || s.Object != (plan.Object{}) && f.concerns(s.Object) || mentions(s.Error, f.Object)
}

// mentions tells whether the text speaks of the object, and not only of something
// that has its name in it: its kind or namespace must stand beside it, as in
// `Service "web" in shop`, `services "web"`, `deployment.apps/web`, `shop/web`, `web.shop`.
func mentions(text string, o plan.Object) bool {
	if o.Name == "" {
		return false
	}
	name, kind, namespace := regexp.QuoteMeta(o.Name), regexp.QuoteMeta(o.Kind), regexp.QuoteMeta(o.Namespace)
	byKind := regexp.MustCompile(`(?i)\b` + kind + `(?:e?s)?(?:\.[\w.]+)?[ /]"?` + name + `(?:" in ([\w-]+)|[^\w-]|$)`)
	for _, m := range byKind.FindAllStringSubmatch(text, -1) {
		if m[1] == "" || m[1] == o.Namespace {
			return true
		}
	}
	return o.Namespace != "" && regexp.MustCompile(`(?:^|[^\w.-])(?:`+namespace+`/`+name+`|`+name+`\.`+namespace+`)(?:[^\w-]|$)`).MatchString(text)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
