use agentx_core::{ApprovalId, Decision};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Outcome, Service, agents::AgentOrImage, shown};
use crate::{Owner, failure::Failure};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerApproval {
    #[serde(flatten)]
    of: AgentOrImage,
    approval_id: String,
    decision: Answered,
    /// The input to run with instead, or why not.
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answered {
    Allow,
    AllowWith,
    Deny,
}

impl Service {
    pub(super) async fn list_approvals(&self, owner: &Owner, params: AgentOrImage) -> Outcome {
        let agent = self.agent(owner, &params).await?;
        let approvals: Vec<Value> = agent
            .approvals()
            .await?
            .iter()
            .map(|approval| {
                json!({
                    "approvalId": approval.approval_id,
                    "turnId": approval.turn_id,
                    "toolId": approval.call.id,
                    "toolName": approval.call.name,
                    "input": approval.call.input,
                    "reason": approval.reason,
                    "createdAt": approval.created_at,
                })
            })
            .collect();
        Ok(Answer::of(json!({"approvals": approvals})))
    }

    pub(super) async fn answer_approval(&self, owner: &Owner, params: AnswerApproval) -> Outcome {
        let missing = || Failure::not_found("Approval", shown(&params.approval_id));
        // Asked of the agent first: an approval of another's is not there.
        let agent = self.agent(owner, &params.of).await?;
        let id = ApprovalId::new(&params.approval_id).map_err(|_| missing())?;
        let known = agent.approvals().await?.iter().any(|approval| approval.approval_id == id);
        if !known {
            return Err(missing());
        }
        let decision = match (params.decision, params.value) {
            (Answered::Allow, _) => Decision::Allow,
            (Answered::AllowWith, Value::Object(input)) => Decision::AllowWith(Value::Object(input)),
            (Answered::AllowWith, _) => {
                return Err(Failure::params(
                    "value is required with allow_with: the input to run with, an object",
                ));
            }
            (Answered::Deny, Value::String(why)) => Decision::Deny(why),
            (Answered::Deny, _) => Decision::Deny("The user denied it.".to_owned()),
        };
        self.runtime.answer(&id, decision).await?;
        Ok(Answer::of(json!({"approvalId": params.approval_id, "success": true})))
    }
}
