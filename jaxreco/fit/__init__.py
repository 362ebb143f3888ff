"""User models fitted to logs of what people did: what a log says, likelihoods, the fit, and the folder that it leaves."""
