package datastorage_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"

	datastorage "kubernaut.ai/kubernaut/api/datastorage/v1"
)

// TestPlaceHoldIsSentAgainAsTheSameHold: when an answer is lost, the hold that may have
// been placed and the one that is asked for again have one id.
func TestPlaceHoldIsSentAgainAsTheSameHold(t *testing.T) {
	var ids []uuid.UUID
	c := serving(t, func(i int, w http.ResponseWriter, r *http.Request) {
		var h datastorage.HoldRequest
		if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
			t.Error(err)
		}
		ids = append(ids, h.HoldID)
		if i == 1 {
			hangUp(w)
			return
		}
		_ = json.NewEncoder(w).Encode(datastorage.Hold{HoldID: h.HoldID, CorrelationID: h.CorrelationID})
	})
	hold, err := c.PlaceHold(t.Context(), datastorage.HoldRequest{CorrelationID: "case-1", Reason: "court"})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] == uuid.Nil || ids[0] != ids[1] || hold.HoldID != ids[0] {
		t.Errorf("asked for the holds %v, got %s", ids, hold.HoldID)
	}
}
