package execution

import "testing"

func TestRefusalsDoNotRepeatValues(t *testing.T) {
	for message, want := range map[string]string{
		`Invalid value: "payment: \"api\"": targetResource is namespace/kind/name`:  "targetResource is namespace/kind/name",
		`Invalid value: map[string]interface {}{"limit":"hunter2}: x"}: upper case`: "upper case",
		`Invalid value: 7: should be less`:                                          "should be less",
		`Invalid value: the name is upper case, as in: LIMIT`:                       "the name is upper case, as in: LIMIT",
		`Unsupported value: "Maybe": supported values: "Skip", "Wait"`:              `Unsupported value: "Maybe": supported values: "Skip", "Wait"`,
	} {
		if got := withoutValue(message); got != want {
			t.Errorf("withoutValue(%q) = %q, want %q", message, got, want)
		}
	}
}
