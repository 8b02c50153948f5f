"""Gate personalization features on live, explicit consent: no answer means no."""
