//! `branch`: if / else if / else, judged with fresh data when the run comes to it.

use super::{Below, Flow, NEXT, Step, StepCx, StepKind, list_node};
use crate::lang::cel::Cond;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};

/// `branch`.
pub static KIND: StepKind = StepKind {
    name: "branch",
    doc: "take the first arm whose condition holds",
    example: "branch:\n    - if: customer.tier == \"gold\"\n      then:\n        - grant: 50 points\n    - else:\n        - grant: 20 points",
    fields: &[Field::required("branch", Shape::List(&Shape::Object(ARM)), "the arms, tried from the top")],
    compile,
};

const ARM: &[Field] = &[
    Field::optional("if", Shape::Condition, "the arm's condition"),
    Field::optional("then", Shape::Ref("steps"), "steps of this arm"),
    Field::optional("else", Shape::Ref("steps"), "steps when no condition before held; only as the last arm"),
];

#[derive(Debug)]
struct Arm {
    /// `None`: else.
    only_if: Option<Cond>,
    /// Where it begins; `None`: it is empty, the run goes on after the branch.
    to: Option<u32>,
    name: String,
}

#[derive(Debug)]
struct BranchStep {
    arms: Vec<Arm>,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let list = list_node(object.node("branch")?, faults)?;
    if list.is_empty() {
        faults.error("no-arms", &object.place("branch"), "a branch needs at least one arm");
    }
    let mut arms = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let Some(arm) = Object::read(node, &[ARM], "an arm of a branch", faults) else { continue };
        match (arm.node("if"), arm.node("then"), arm.node("else")) {
            (Some(cond), Some(steps), None) => {
                let only_if = below.compiler().condition(cond, faults);
                let name = only_if.as_ref().map_or_else(|| format!("arm {}", index + 1), |cond| cond.text.text.clone());
                let to = below.arm(&name, steps, faults);
                arms.push(Arm { only_if: Some(only_if?), to, name });
            }
            (None, None, Some(steps)) => {
                if index + 1 < list.len() {
                    faults.error("else-not-last", &node.place, "`else` must be the last arm: what follows it can never be taken");
                }
                let to = below.arm("else", steps, faults);
                arms.push(Arm { only_if: None, to, name: "else".to_owned() });
            }
            _ => {
                faults
                    .error("arm-form", &node.place, "an arm is either `if:` with `then:`, or `else:` alone")
                    .hint("for example `- if: customer.tier == \"gold\"` with `then:` below it");
            }
        }
    }
    Some(Box::new(BranchStep { arms }))
}

impl Step for BranchStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        let mut seen = Vec::new();
        for arm in &self.arms {
            let taken = match &arm.only_if {
                None => true,
                Some(cond) => {
                    let verdict = cond.judge(cx.scope);
                    seen.extend(verdict.seen);
                    verdict.value == Some(true)
                }
            };
            if taken {
                return Flow::Goto {
                    to: arm.to.unwrap_or(NEXT),
                    name: arm.name.clone(),
                    seen,
                    variant: false,
                    why: String::new(),
                };
            }
        }
        Flow::Goto { to: NEXT, name: "no arm".to_owned(), seen, variant: false, why: String::new() }
    }

    fn arms(&self) -> Vec<(String, u32)> {
        self.arms.iter().filter_map(|arm| arm.to.map(|to| (arm.name.clone(), to))).collect()
    }

    fn conditions(&self) -> Vec<&Cond> {
        self.arms.iter().filter_map(|arm| arm.only_if.as_ref()).collect()
    }

    fn goes_on(&self) -> bool {
        self.arms.iter().all(|arm| arm.only_if.is_some()) || self.arms.iter().any(|arm| arm.to.is_none())
    }

    fn sentence(&self) -> String {
        "branch".to_owned()
    }
}
