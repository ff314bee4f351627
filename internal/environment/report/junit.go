package report

import (
	"encoding/xml"
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/environment/progress"
)

type suite struct {
	XMLName   xml.Name   `xml:"testsuite"`
	Name      string     `xml:"name,attr"`
	Tests     int        `xml:"tests,attr"`
	Failures  int        `xml:"failures,attr"`
	Skipped   int        `xml:"skipped,attr"`
	Time      string     `xml:"time,attr"`
	Timestamp string     `xml:"timestamp,attr"`
	Cases     []testCase `xml:"testcase"`
}

type testCase struct {
	Name      string   `xml:"name,attr"`
	ClassName string   `xml:"classname,attr"`
	Time      string   `xml:"time,attr"`
	Failure   *outcome `xml:"failure"`
	Skipped   *outcome `xml:"skipped"`
	Out       string   `xml:"system-out,omitempty"`
}

type outcome struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit is the report as CI systems read it: a test case for each step.
func (r Report) JUnit() ([]byte, error) {
	s := suite{
		Name: "environment " + r.Environment, Tests: len(r.Steps),
		Time: fmt.Sprintf("%.3f", r.WallSeconds), Timestamp: r.Began.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, step := range r.Steps {
		c := testCase{Name: step.Name, ClassName: "environment", Time: fmt.Sprintf("%.3f", step.Seconds)}
		switch step.State {
		case progress.Ready:
		case progress.Failed:
			s.Failures++
			first, _, _ := strings.Cut(step.Error, "\n")
			c.Failure = &outcome{Message: first, Text: step.Error}
		default:
			s.Skipped++
			c.Skipped = &outcome{Message: string(step.State) + " because another step failed, or it was interrupted"}
		}
		var lines []string
		for _, w := range step.Waits {
			lines = append(lines, fmt.Sprintf("%6.1fs  %s", w.Seconds, w.For))
		}
		c.Out = strings.Join(lines, "\n")
		s.Cases = append(s.Cases, c)
	}
	raw, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(raw, '\n')...), nil
}
